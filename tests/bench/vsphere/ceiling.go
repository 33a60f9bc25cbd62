// ceiling up|down PREFIX COUNT WORKERS: what a client can get out of this vcsim at all: every call that the work needs
// and none besides, from one session over kept-alive connections.
//
// up: clone, set nested virtualization, power on, read both and the address. down: power off, destroy.
// Environment: GOVC_URL GOVC_USERNAME GOVC_PASSWORD GOVC_TLS_CA_CERTS, as for govc; TEMPLATE; RESOURCE_POOL, FOLDER.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
}

func connect(ctx context.Context, workers int) *govmomi.Client {
	u, err := soap.ParseURL(os.Getenv("GOVC_URL"))
	must(err)
	client := soap.NewClient(u, false)
	must(client.SetRootCAs(os.Getenv("GOVC_TLS_CA_CERTS")))
	client.DefaultTransport().MaxIdleConnsPerHost = workers
	vim, err := vim25.NewClient(ctx, client)
	must(err)
	c := &govmomi.Client{Client: vim, SessionManager: session.NewManager(vim)}
	must(c.Login(ctx, url.UserPassword(os.Getenv("GOVC_USERNAME"), os.Getenv("GOVC_PASSWORD"))))
	return c
}

// ended reads a task once: vcsim's have always ended.
func ended(ctx context.Context, c *vim25.Client, ref types.ManagedObjectReference) types.TaskInfo {
	var task mo.Task
	must(object.NewCommon(c, ref).Properties(ctx, ref, []string{"info"}, &task))
	if task.Info.State != types.TaskInfoStateSuccess {
		must(fmt.Errorf("%s: %s: %+v", task.Info.DescriptionId, task.Info.State, task.Info.Error))
	}
	return task.Info
}

type job struct {
	client   *vim25.Client
	template types.ManagedObjectReference
	folder   types.ManagedObjectReference
	pool     types.ManagedObjectReference
}

func (j *job) up(ctx context.Context, name string) {
	c := j.client
	clone, err := methods.CloneVM_Task(ctx, c, &types.CloneVM_Task{
		This: j.template, Folder: j.folder, Name: name,
		Spec: types.VirtualMachineCloneSpec{
			Location: types.VirtualMachineRelocateSpec{Pool: &j.pool},
			Config: &types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
				&types.OptionValue{Key: "SET.guest.ipAddress", Value: "127.0.0.1"},
			}},
		},
	})
	must(err)
	vm := ended(ctx, c, clone.Returnval).Result.(types.ManagedObjectReference)
	reconfigure, err := methods.ReconfigVM_Task(ctx, c, &types.ReconfigVM_Task{
		This: vm, Spec: types.VirtualMachineConfigSpec{NestedHVEnabled: types.NewBool(true)},
	})
	must(err)
	ended(ctx, c, reconfigure.Returnval)
	on, err := methods.PowerOnVM_Task(ctx, c, &types.PowerOnVM_Task{This: vm})
	must(err)
	ended(ctx, c, on.Returnval)
	var seen mo.VirtualMachine
	paths := []string{"config.nestedHVEnabled", "guest.ipAddress"}
	must(object.NewCommon(c, vm).Properties(ctx, vm, paths, &seen))
	if seen.Guest == nil || seen.Guest.IpAddress == "" || seen.Config == nil || !*seen.Config.NestedHVEnabled {
		must(fmt.Errorf("%s has no address or no nested virtualization", name))
	}
}

func (j *job) down(ctx context.Context, vm types.ManagedObjectReference) {
	off, err := methods.PowerOffVM_Task(ctx, j.client, &types.PowerOffVM_Task{This: vm})
	must(err)
	ended(ctx, j.client, off.Returnval)
	destroy, err := methods.Destroy_Task(ctx, j.client, &types.Destroy_Task{This: vm})
	must(err)
	ended(ctx, j.client, destroy.Returnval)
}

// inParallel calls do(0) ... do(count-1).
func inParallel(count, workers int, do func(i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for w := 0; w < workers; w++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range next {
				do(i)
			}
		}()
	}
	for i := 0; i < count; i++ {
		next <- i
	}
	close(next)
	all.Wait()
}

func main() {
	if len(os.Args) != 5 {
		must(fmt.Errorf("usage: ceiling up|down PREFIX COUNT WORKERS"))
	}
	prefix := os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	workers, err := strconv.Atoi(os.Args[4])
	must(err)
	ctx := context.Background()
	c := connect(ctx, workers)
	finder := find.NewFinder(c.Client)
	dc, err := finder.DefaultDatacenter(ctx)
	must(err)
	finder.SetDatacenter(dc)
	if os.Args[1] == "down" {
		vms, err := finder.VirtualMachineList(ctx, os.Getenv("FOLDER")+"/"+prefix+"-*")
		must(err)
		if len(vms) != count {
			must(fmt.Errorf("%d machines, not %d", len(vms), count))
		}
		j := job{client: c.Client}
		inParallel(count, workers, func(i int) { j.down(ctx, vms[i].Reference()) })
	} else {
		template, err := finder.VirtualMachine(ctx, os.Getenv("TEMPLATE"))
		must(err)
		folder, err := finder.Folder(ctx, os.Getenv("FOLDER"))
		must(err)
		pool, err := finder.ResourcePool(ctx, os.Getenv("RESOURCE_POOL"))
		must(err)
		j := job{c.Client, template.Reference(), folder.Reference(), pool.Reference()}
		inParallel(count, workers, func(i int) { j.up(ctx, fmt.Sprintf("%s-%d", prefix, i+1)) })
	}
	must(c.Logout(ctx))
}
