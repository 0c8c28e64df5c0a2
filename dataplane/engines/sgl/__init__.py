"""The production engine: SGLang serves the target, our plugin supplies drafters, controller and verification.

server process                                    SGLang's scheduler process
  engine.py   SGLang's Engine, in its own thread    plugin.py    registers the algorithm SLIPSTREAM
  control.py  client  <---- Unix socket, JSON ---->  control.py   server
                                                    worker.py    runs `speculative_step`
                                                    target.py    SGLang's verify forward as a `TargetModel`
"""
