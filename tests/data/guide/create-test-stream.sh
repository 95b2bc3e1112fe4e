# Create log stream
aws logs create-log-stream \
  --log-group-name /aws/auditflow/test \
  --log-stream-name test-stream \
  --region us-east-1

# Verify it exists
aws logs describe-log-streams \
  --log-group-name /aws/auditflow/test \
  --log-stream-name-prefix test-stream \
  --region us-east-1
