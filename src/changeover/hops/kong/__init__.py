"""Kong as gateway, and as router of the tier behind it, whether it is a tier of the chain or stands outside of it."""
