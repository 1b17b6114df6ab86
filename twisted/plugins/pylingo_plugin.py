"""What ``twistd pylingo`` finds; the service itself is loaded only when it is asked for."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker("PyLingo", "pylingo.service", "A chat server with rooms.", "pylingo")
