# Check current identity
aws sts get-caller-identity

# Test log group access
aws logs describe-log-groups \
  --log-group-name-prefix /aws/auditflow \
  --region us-east-1
