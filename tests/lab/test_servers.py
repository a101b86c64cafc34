"""The web server of a real server can be stopped and started at any moment."""

from __future__ import annotations

from lvslab.lab.servers import Nginx, start_nginx
from lvslab.training.services import RESTART_NGINX
from tests.lab.scene import Scene, in_scene, wait_for

TIMES = 8


def test_a_web_server_that_has_just_begun_can_be_restarted() -> None:
    def work(scene: Scene) -> None:
        server = scene.lab.servers[0]
        for _ in range(TIMES):
            server.run(RESTART_NGINX).check(server.name, "restart of nginx")
        assert Nginx(server).state

    in_scene(work, "tun")


def test_the_number_of_a_web_server_is_that_of_the_new_one() -> None:
    def work(scene: Scene) -> set[str]:
        server = scene.lab.servers[0]
        titles = set()
        for _ in range(TIMES):
            web = Nginx(server)
            titles.add(web.title)
            web.kill()
            wait_for(lambda: web.state is None, "the web server lives on")  # noqa: B023
            start_nginx(server)
        return titles

    assert len(in_scene(work)) == TIMES
