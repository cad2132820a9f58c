"""Digital patients: anatomy, lesions, and a scan of both."""
