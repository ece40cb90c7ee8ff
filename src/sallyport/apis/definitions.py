"""The CustomResourceDefinitions of all front-ends: what a cluster needs to take their manifests."""

from sallyport.apis.antrea import crds as antrea
from sallyport.apis.calico import crds as calico

DEFINITIONS = (*antrea.DEFINITIONS, *calico.DEFINITIONS)
