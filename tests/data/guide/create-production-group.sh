# Using AWS CLI
aws logs create-log-group \
  --log-group-name /aws/auditflow/production \
  --region us-east-1

# Add retention policy (optional)
aws logs put-retention-policy \
  --log-group-name /aws/auditflow/production \
  --retention-in-days 30 \
  --region us-east-1

# Add tags
aws logs tag-log-group \
  --log-group-name /aws/auditflow/production \
  --tags Environment=production,Application=auditflow \
  --region us-east-1
