"""The heart: drafters, controller and the engine-neutral speculative step."""
