"""What Python and notebooks add to a registration: results that know their images, tables, pictures and plots."""
