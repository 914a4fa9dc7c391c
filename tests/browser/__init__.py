"""The page in a real Chromium, against a real gateway, accountd and simulator."""
