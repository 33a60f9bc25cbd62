# cloud-init does without Jinja: it then refuses user-data which begins with
# "## template: jinja".  Loading it takes half a second and more, in each of
# three stages.
raise ImportError("left out: see /usr/local/lib/lab")
