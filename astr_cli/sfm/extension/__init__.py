"""More photos in a finished reconstruction: existing poses, points and numbers stay."""
