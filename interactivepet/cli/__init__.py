"""One thin module a console command: arguments in, one call into the pipeline, text out."""
