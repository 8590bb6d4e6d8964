"""Real model servers and SDKs, and what starts them."""
