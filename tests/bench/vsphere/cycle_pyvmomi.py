"""cycle_pyvmomi.py up|down PREFIX COUNT THREADS: ceiling.go's work as it is written with pyvmomi: a session per thread,
WaitForTask of its own library, properties read where they are needed. The environment is ceiling.go's."""
import os
import ssl
import sys
import threading
from urllib.parse import urlsplit

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim


def connect():
    where = urlsplit(os.environ["GOVC_URL"])
    context = ssl.create_default_context(cafile=os.environ["GOVC_TLS_CA_CERTS"])
    return SmartConnect(host=where.hostname, port=where.port, user=os.environ["GOVC_USERNAME"],
                        pwd=os.environ["GOVC_PASSWORD"], sslContext=context)


def find(instance, path):
    found = instance.content.searchIndex.FindByInventoryPath(path.strip("/"))
    if found is None:
        sys.exit(f"no {path}")
    return found


def up(instance, places, name):
    template, folder, pool = places
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=pool), powerOn=False, template=False,
        config=vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="SET.guest.ipAddress", value="127.0.0.1")]))
    task = template.CloneVM_Task(folder=folder, name=name, spec=spec)
    WaitForTask(task, si=instance)
    machine = task.info.result
    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(nestedHVEnabled=True)), si=instance)
    WaitForTask(machine.PowerOnVM_Task(), si=instance)
    if not machine.config.nestedHVEnabled or not machine.guest.ipAddress:
        sys.exit(f"{name} has no address or no nested virtualization")


def down(instance, places, name):
    machine = find(instance, f"{os.environ['FOLDER']}/{name}")
    WaitForTask(machine.PowerOffVM_Task(), si=instance)
    WaitForTask(machine.Destroy_Task(), si=instance)


def worker(do, places, names, lock, failed):
    try:
        instance = connect()
        places = [type(place)(place._moId, instance._stub) for place in places]
        while True:
            with lock:
                name = next(names, None)
            if name is None:
                break
            do(instance, places, name)
        Disconnect(instance)
    except BaseException as error:  # a thread's end is not the program's
        failed.append(error)


def main():
    verb, prefix, count, threads = sys.argv[1:]
    names, lock, failed = iter([f"{prefix}-{i + 1}" for i in range(int(count))]), threading.Lock(), []
    do = {"up": up, "down": down}[verb]
    instance = connect()  # vcsim panics when a path is looked up while a machine is being made in it: once, before
    places = [find(instance, os.environ[key]) for key in ("TEMPLATE", "FOLDER", "RESOURCE_POOL")]
    Disconnect(instance)
    workers = [threading.Thread(target=worker, args=(do, places, names, lock, failed)) for _ in range(int(threads))]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    if failed:
        sys.exit(f"pyvmomi: {failed[0]!r}")


main()
