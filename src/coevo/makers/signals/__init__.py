"""Numbers of maturity that measuring and computing again share."""
