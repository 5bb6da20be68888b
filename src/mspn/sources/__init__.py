"""Where pictures come from: files, folders, addresses, videos, cameras, arrays."""
