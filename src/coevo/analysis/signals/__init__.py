"""What maturity is judged by: ruler, residuals, diversity, S.U.N."""
