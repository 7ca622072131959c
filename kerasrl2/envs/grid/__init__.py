"""Small games on a 10 x 10 grid in TensorFlow, after MinAtar."""
