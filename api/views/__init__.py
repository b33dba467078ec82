"""What answers show: rows as objects, and the queries behind them."""
