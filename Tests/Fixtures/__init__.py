"""What the black-box tests stand on: echo pods, scripted origins, certificates, a raw HTTP/1.1
client, and a wrapper that runs the gateway. Nothing here shares code with the gateway."""
