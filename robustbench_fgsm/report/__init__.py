"""Reports: summaries, tables, figures and pages of documents."""
