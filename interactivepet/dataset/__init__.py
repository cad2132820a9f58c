"""Raw files of a task: read, checked, listed in `dataset.json`, and written back on their own grid."""
