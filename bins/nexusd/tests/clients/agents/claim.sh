#!/bin/bash
# Session sees work item, claims it

curl -X POST http://localhost:8450/work/claim \
  -H "Content-Type: application/json" \
  -d '{
    "session_id": "session-3",
    "work_id": "deploy-dashboard",
    "work_description": "Deploy dashboard to production server"
  }'

# NEXUS broadcasts "work.claimed" event to all sessions
# Other sessions know work is taken
