"""What people see of runs: progress, curves, TensorBoard, tables over many runs."""
