"""A run folder: the only place that ties the parts together and knows the folder's layout.

Every stage is a generator of records and leaves its result in the folder. No clock enters `log.jsonl`;
timings have their own file.
"""
