"""What a farm's readings mean for its crop: pure functions, and the part that applies them.

Sources are named where they are used; FAO-56 is Allen, R.G., Pereira, L.S., Raes, D., Smith, M.
(1998): Crop evapotranspiration, FAO Irrigation and Drainage Paper 56.
"""
