"""Methods that compare grey values and features of them, in the plane and in space."""
