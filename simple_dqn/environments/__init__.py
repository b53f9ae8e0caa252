"""Games behind the contract of `environment.py`, and what makes their pictures and names."""
