# Create test log group
aws logs create-log-group \
  --log-group-name /aws/auditflow/test \
  --region us-east-1

# Verify it exists
aws logs describe-log-groups \
  --log-group-name-prefix /aws/auditflow/test \
  --region us-east-1
