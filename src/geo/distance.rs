//! How far it is from here to there.

use geo::{Distance as _, Geodesic, Point};

use crate::domain::Coordinates;

/// The length of the shortest way along the WGS 84 ellipsoid, in kilometres.
#[must_use]
pub fn distance_km(a: Coordinates, b: Coordinates) -> f64 {
    let point = |place: Coordinates| Point::new(place.lon(), place.lat());
    Geodesic.distance(point(a), point(b)) / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};

    /// Vincenty's inverse formula on WGS 84 (Survey Review 23, 1975), in kilometres; none
    /// where it does not converge, near the antipodes. Nothing of the crate under test.
    pub(crate) fn vincenty_km(from: Coordinates, to: Coordinates) -> Option<f64> {
        let (a, f) = (6_378.137, 1.0 / 298.257_223_563);
        let b = a * (1.0 - f);
        let u1 = ((1.0 - f) * from.lat().to_radians().tan()).atan();
        let u2 = ((1.0 - f) * to.lat().to_radians().tan()).atan();
        let l = (to.lon() - from.lon()).to_radians();
        let mut lambda = l;
        for _ in 0..200 {
            let cross = (u2.cos() * lambda.sin()).powi(2)
                + (u1.cos() * u2.sin() - u1.sin() * u2.cos() * lambda.cos()).powi(2);
            let sin_sigma = cross.sqrt();
            if sin_sigma == 0.0 {
                return Some(0.0);
            }
            let cos_sigma = u1.sin() * u2.sin() + u1.cos() * u2.cos() * lambda.cos();
            let sigma = sin_sigma.atan2(cos_sigma);
            let sin_alpha = u1.cos() * u2.cos() * lambda.sin() / sin_sigma;
            let cos2_alpha = 1.0 - sin_alpha * sin_alpha;
            let cos_2m =
                if cos2_alpha == 0.0 { 0.0 } else { cos_sigma - 2.0 * u1.sin() * u2.sin() / cos2_alpha };
            let c = f / 16.0 * cos2_alpha * (4.0 + f * (4.0 - 3.0 * cos2_alpha));
            let bend = cos_2m + c * cos_sigma * (2.0 * cos_2m * cos_2m - 1.0);
            let before = lambda;
            lambda = l + (1.0 - c) * f * sin_alpha * (sigma + c * sin_sigma * bend);
            if (lambda - before).abs() < 1e-12 {
                let u = cos2_alpha * (a * a - b * b) / (b * b);
                let big_a = 1.0 + u / 16_384.0 * (4_096.0 + u * (-768.0 + u * (320.0 - 175.0 * u)));
                let big_b = u / 1_024.0 * (256.0 + u * (-128.0 + u * (74.0 - 47.0 * u)));
                let square = 2.0 * cos_2m * cos_2m - 1.0;
                let last = big_b / 6.0
                    * cos_2m
                    * (4.0 * sin_sigma * sin_sigma - 3.0)
                    * (4.0 * cos_2m * cos_2m - 3.0);
                let delta = big_b * sin_sigma * (cos_2m + big_b / 4.0 * (cos_sigma * square - last));
                return Some(b * big_a * (sigma - delta));
            }
        }
        None
    }

    /// A place anywhere, as likely as another of the same area.
    pub(crate) fn anywhere(rng: &mut impl rand::Rng) -> Coordinates {
        let lat = rng.random_range(-1.0_f64..1.0).asin().to_degrees();
        Coordinates::new(lat, rng.random_range(-180.0..180.0)).unwrap()
    }

    #[test]
    fn the_survey_of_flinders_peak_and_buninyong_comes_out() {
        let dms = |d: f64, m: f64, s: f64| d + m / 60.0 + s / 3600.0;
        let peak = Coordinates::new(-dms(37.0, 57.0, 3.7203), dms(144.0, 25.0, 29.5244)).unwrap();
        let town = Coordinates::new(-dms(37.0, 39.0, 10.1561), dms(143.0, 55.0, 35.3839)).unwrap();
        assert!((distance_km(peak, town) - 54.972_271).abs() < 1e-6);
        assert!((vincenty_km(peak, town).unwrap() - 54.972_271).abs() < 1e-6);
    }

    #[test]
    fn distances_agree_with_vincenty_and_with_the_ellipsoid() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let mut compared = 0;
        for _ in 0..1000 {
            let (a, b) = (anywhere(&mut rng), anywhere(&mut rng));
            let km = distance_km(a, b);
            assert!((km - distance_km(b, a)).abs() < 1e-6, "{a} {b}");
            if let Some(other) = vincenty_km(a, b) {
                assert!((km - other).abs() < 1e-3, "{a} {b}: {km} {other}");
                compared += 1;
            }
        }
        assert!(compared > 980, "{compared}");
        let at = |lat, lon| Coordinates::new(lat, lon).unwrap();
        // Half a meridian, across both poles and at the edges of longitude.
        assert!((distance_km(at(90.0, 0.0), at(-90.0, 77.0)) - 20_003.931).abs() < 0.01);
        assert!(distance_km(at(10.0, 180.0), at(10.0, -180.0)).abs() < 1e-9);
        assert!(distance_km(at(52.37, 4.9), at(52.37, 4.9)).abs() < 1e-9);
        // Antipodes on the equator go by a pole.
        assert!((distance_km(at(0.0, 0.0), at(0.0, 180.0)) - 20_003.931).abs() < 0.01);
    }
}
