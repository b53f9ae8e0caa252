"""Many runs, games x seeds, on the cores of one machine or of many, by Ray."""
