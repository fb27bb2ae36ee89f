from fieldnode import start

start.main()
