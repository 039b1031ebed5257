"""What a network looked at: gates, activation, Grad-CAM, rollout, parts, pairs, and measures of all of them."""
