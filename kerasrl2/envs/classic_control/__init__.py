"""Gymnasium's classic control problems in TensorFlow, equal step for step."""
