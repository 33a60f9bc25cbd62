# cloud-init does without jsonschema: it then does not warn of odd user-data.
# Loading it takes half a second and more, in each of three stages.
raise ImportError("left out: see /usr/local/lib/lab")
