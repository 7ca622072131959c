"""Gymnasium's classic control environments in TensorFlow, with the same dynamics."""
