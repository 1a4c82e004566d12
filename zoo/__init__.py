"""The zoo: whole systems, that is networks, released weights, objectives, data and training."""
