# Get recent log events
aws logs get-log-events \
  --log-group-name /aws/auditflow/test \
  --log-stream-name test-stream \
  --limit 10 \
  --region us-east-1

# Use CloudWatch Insights
aws logs start-query \
  --log-group-name /aws/auditflow/production \
  --start-time $(date -u -d '1 hour ago' +%s) \
  --end-time $(date -u +%s) \
  --query-string 'fields @timestamp, @message | sort @timestamp desc | limit 20' \
  --region us-east-1
