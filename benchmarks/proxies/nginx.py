"""nginx as an HTTP proxy, with the connections to its upstream kept."""

from __future__ import annotations

from pathlib import Path

from benchmarks.proxies.base import HEADERS, Proxy, program

COMMON = """\
user root;
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
"""

HTTP_COMMON = """\
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path temp;
  proxy_temp_path temp;
  fastcgi_temp_path temp;
  uwsgi_temp_path temp;
  scgi_temp_path temp;
"""


def nginx_command(directory: Path, configuration: str) -> list[str]:
    """Write an nginx configuration into a directory and give the command that runs it."""
    (directory / "nginx.conf").write_text(configuration)
    return [program("nginx", "nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]


def prepare(directory: Path, port: int, upstream: int) -> list[str]:
    """Write the configuration; nginx keeps up to 64 connections to its upstream."""
    headers = "\n".join(f'      proxy_set_header {name} "{value}";' for name, value in HEADERS.items())
    return nginx_command(
        directory,
        f"""{COMMON}
http {{
{HTTP_COMMON}
  upstream backend {{
    server 127.0.0.1:{upstream};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
{headers}
    }}
  }}
}}
""",
    )


NGINX = Proxy("nginx", "nginx", prepare, lambda: [program("nginx", "nginx"), "-v"])
