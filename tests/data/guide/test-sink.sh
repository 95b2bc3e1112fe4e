# Test the sink endpoint
curl -X POST "http://localhost:8082/sink/aws_cloudwatch_sink" \
  -H "Content-Type: application/json" \
  -d '{
    "event_data": {
      "eventType": "test",
      "timestamp": "2025-12-17T10:00:00Z",
      "message": "Test audit event"
    },
    "properties": {
      "log-group": "/aws/auditflow/test",
      "log-stream": "test-stream",
      "region": "us-east-1",
      "create-log-group": "false",
      "create-log-stream": "false"
    }
  }'
