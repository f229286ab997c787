"""The audit: structures drawn by the model's verdicts, looked at by an auditor that took no part in training, and judged."""
