# Send test event
aws logs put-log-events \
  --log-group-name /aws/auditflow/test \
  --log-stream-name test-stream \
  --log-events "[{\"timestamp\": $(date +%s%3N), \"message\": \"{\\\"test\\\":\\\"event\\\"}\"}]" \
  --region us-east-1
