"""What requests and answers consist of: values alone, so that clients can import them."""
