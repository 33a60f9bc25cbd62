#!/bin/sh
# init: a first lab file that is valid, and never at the cost of one that is there.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"

run 0 init
has "$out" "lab.yaml is written. Next:"
has "$out" "nestor up lab.yaml"
run 0 validate lab.yaml
is "$out" "lab.yaml: valid: 3 machines on 1 host, depth 2"
has "$(head -1 lab.yaml)" "\$schema=$NESTOR_TEMPLATES/lab.schema.json"
has "$(cat lab.yaml)" "# a guest hypervisor"

echo mine >lab.yaml
run 1 init
has "$err" "error: lab.yaml: there is such a file already, and it is left as it is"
is "$(cat lab.yaml)" mine

run 0 init class.yaml --template count --name class
is "$(grep '^lab:' class.yaml)" "lab: class"
run 0 validate class.yaml

run 2 init x.yaml --template ../labs/count
has "$err" "there is no starter '../labs/count'"
run 2 init x.yaml --template qickstart
has "$err" "mend: did you mean 'quickstart'? There are: "
has "$err" ", count, "
run 2 init x.yaml --name 'No Name'
has "$err" "'No Name' cannot be the name of a lab"
[ ! -e x.yaml ] || fail "x.yaml was written"
run 1 init no/such/folder.yaml
has "$err" "no/such/folder.yaml: cannot create it: No such file or directory"

run 0 init --list
for file in "$NESTOR_TEMPLATES"/labs/*.yaml; do
    has "$out" "$(basename "$file" .yaml)  "
done
has "$out" "One guest hypervisor with two guests inside"

NESTOR_TEMPLATES=/nowhere run 2 init y.yaml
has "$err" "mend: there are none in /nowhere/labs: NESTOR_TEMPLATES names the folder"

# Nothing in the file speaks of the lab by another name, or of another file.
for file in "$NESTOR_TEMPLATES"/labs/*.yaml; do
    starter=$(basename "$file" .yaml)
    run 0 init "own-$starter.yaml" --template "$starter" --name zz
    is "$(sed 1d "own-$starter.yaml" | grep -E "$starter/|${starter}[.]yaml|^lab:")" "lab: zz"
done

run 0 init -q quiet.yaml
is "$out" ""
