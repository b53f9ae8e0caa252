"""What a run leaves on the disk and how it resumes: snapshots, replay memory, CSV, locks."""
