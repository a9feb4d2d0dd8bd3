//! What a World has in common with the one before it.

use std::sync::Arc;

use meltemi_registry::Service;

use super::World;
use super::virtual_service::ResolvedVirtualService as Routes;

impl World {
    /// Takes from an earlier World what is equal there, so that comparing pointers tells what
    /// changed, and notes since when the parts are as they are. What is translated from it
    /// stays the same.
    pub(super) fn share(mut self, before: &Self) -> Self {
        self.registry.share(&before.registry);
        self.destination_rules.share(&before.destination_rules);
        let mut earlier = before.virtual_services.iter().peekable();
        for service in &mut self.virtual_services {
            // Both are in order of age.
            while earlier
                .next_if(|earlier| earlier.age() < service.age())
                .is_some()
            {}
            if let Some(same) = earlier.peek().filter(|earlier| **earlier == service) {
                *service = Arc::clone(same);
            }
        }
        if self.is_common(before) {
            self.common_since = before.common_since;
            if self.has_frame_of(before) {
                self.frame_since = before.frame_since;
                if self.virtual_services == before.virtual_services {
                    self.shape_since = before.shape_since;
                }
            }
        }
        self
    }

    /// Whether all is equal but what has a comparison of its own: services, VirtualServices and
    /// DestinationRules. Every field is named, so that a new one is not forgotten here.
    fn is_common(&self, before: &Self) -> bool {
        let Self {
            generation: _,
            shape_since: _,
            frame_since: _,
            common_since: _,
            domain,
            cluster_id,
            mesh,
            registry: _,
            virtual_services: _,
            destination_rules: _,
            gateways,
            sidecars,
            peer_authentications,
            telemetries,
            secrets,
            ca_certificates,
            client_labels: _,
            statuses: _,
            issues: _,
        } = self;
        (domain, cluster_id, mesh, gateways)
            == (
                &before.domain,
                &before.cluster_id,
                &before.mesh,
                &before.gateways,
            )
            && (sidecars, peer_authentications, telemetries)
                == (
                    &before.sidecars,
                    &before.peer_authentications,
                    &before.telemetries,
                )
            && (secrets, ca_certificates) == (&before.secrets, &before.ca_certificates)
    }

    fn has_frame_of(&self, before: &Self) -> bool {
        let same = |(now, before): (&Arc<Service>, &Arc<Service>)| {
            Arc::ptr_eq(now, before) || now.differs_in_endpoints_only(before)
        };
        let (services, earlier) = (self.registry.services(), before.registry.services());
        let same_but_http = |(now, before): (&Arc<Routes>, &Arc<Routes>)| {
            Arc::ptr_eq(now, before) || now.differs_in_http_only(before)
        };
        let (routes, earlier_routes) = (&self.virtual_services, &before.virtual_services);
        services.len() == earlier.len()
            && services.iter().zip(earlier).all(same)
            && routes.len() == earlier_routes.len()
            && routes.iter().zip(earlier_routes).all(same_but_http)
            && self.destination_rules == before.destination_rules
    }
}
