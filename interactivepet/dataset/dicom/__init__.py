"""PET series in SUV, masks from RTSTRUCT and SEG, and masks back to both."""
