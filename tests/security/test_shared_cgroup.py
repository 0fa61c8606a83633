"""Two containers at one cgroupsPath: what is done to the one that has ended must not reach the other."""


def at_one_path(bundle, pyoci):
    """(ended, living): the first has ended when the second is created in the cgroup that it left empty."""
    path = f"/{pyoci.new_id()}"
    bundle.linux["cgroupsPath"] = path
    bundle.process["args"] = ["sleep", "1000"]
    bundle.write()
    ended, living = pyoci.new_id(), pyoci.new_id()
    pyoci.ok("create", "--bundle", bundle.path, ended)
    pyoci.ok("kill", ended, "KILL")
    while pyoci.state(ended)["status"] != "stopped":
        pass
    pyoci.ok("create", "--bundle", bundle.path, living)
    pyoci.ok("start", living)
    return ended, living


def test_kill_all_of_an_ended_container_spares_who_came_after_it(bundle, pyoci):
    ended, living = at_one_path(bundle, pyoci)
    pyoci.ok("kill", "--all", ended, "KILL")
    assert pyoci.state(living)["status"] == "running"
    pyoci.ok("delete", "--force", living)
    pyoci.ok("delete", ended)
