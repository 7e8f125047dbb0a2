"""Registration: two images and a recipe in, one result out."""
