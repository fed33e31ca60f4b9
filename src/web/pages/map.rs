//! The world map: where a place stands on it, the way between two places, and names that don't cover
//! each other.
//!
//! The land is a path that `scripts/build-map` draws on an equirectangular field of 1000 by 500 units.
//! Dots and names are placed in percent, so that they keep their size in pixels on every screen.

use std::f64::consts::PI;

/// Width of the field in units: 360 degrees of longitude.
const FIELD_WIDTH: f64 = 1000.0;
/// Height of the field in units: 180 degrees of latitude.
const FIELD_HEIGHT: f64 = 500.0;
/// The part of the field that is shown: from 84° N to 58° S. The stylesheet knows its shape
/// (`aspect-ratio`), the template its `viewBox`.
const TOP: f64 = 16.0;
const SHOWN_HEIGHT: f64 = 396.0;
/// Steps of a drawn way: enough for it to look round at any width.
const WAY_STEPS: u32 = 48;
/// The longest name on the map, in characters; the table below it has the whole.
const LABEL_CHARS: usize = 22;

/// Distance from the field's left edge in units (0 to 1000) of a longitude in degrees east.
#[must_use]
pub fn map_x(lon: f64) -> f64 {
    (lon + 180.0) / 360.0 * FIELD_WIDTH
}

/// Distance from the field's top edge in units (0 to 500) of a latitude in degrees north.
#[must_use]
pub fn map_y(lat: f64) -> f64 {
    (90.0 - lat) / 180.0 * FIELD_HEIGHT
}

/// What stands at a point of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A server or copy that cannot be used now.
    Down,
    /// A server, or a copy that is not the reader's.
    Server,
    /// The copy that the reader gets.
    Chosen,
    /// The reader.
    Reader,
}

impl Mark {
    const fn class(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Server => "server",
            Self::Chosen => "chosen",
            Self::Reader => "reader",
        }
    }
}

/// A place to show.
#[derive(Debug, Clone, PartialEq)]
pub struct MapPoint {
    /// Its name.
    pub label: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// What stands there.
    pub mark: Mark,
}

/// A map, ready to be drawn by `map.html`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorldMap {
    /// What it shows, in words, for those who don't see it.
    pub description: String,
    /// Ways from the reader to the copies, the chosen one last (on top).
    pub ways: Vec<Way>,
    /// The points, the reader last (on top).
    pub points: Vec<PlacedPoint>,
    /// How long the chosen way is, beside it.
    pub distance: Option<PlacedLabel>,
}

/// A text of its own on the map.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedLabel {
    /// From the left in percent.
    pub x: String,
    /// From the top in percent.
    pub y: String,
    /// The text.
    pub label: Label,
}

/// A way along the shortest line on the globe.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// An SVG path in units of the field.
    pub path: String,
    /// A class of the stylesheet.
    pub class: &'static str,
}

/// A point on the map.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedPoint {
    /// From the left in percent.
    pub x: String,
    /// From the top in percent.
    pub y: String,
    /// A class of the stylesheet.
    pub class: &'static str,
    /// The whole name.
    pub title: String,
    /// The name beside the point, where there is room for it.
    pub label: Option<Label>,
}

/// A name beside its point.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The name, cut where it is very long.
    pub text: String,
    /// `start`, `middle` or `end` of the text stands at the point.
    pub anchor: &'static str,
    /// Right of the point, in pixels.
    pub dx: i32,
    /// Below the point, in pixels; of the text's base line.
    pub dy: i32,
    /// A class of the stylesheet: `wide` where a small screen has no room.
    pub class: &'static str,
}

impl WorldMap {
    /// Places the points and draws ways from the reader, where there is one, to each of the others.
    ///
    /// Servers at one place share a point, marked as the best of them.
    #[must_use]
    pub fn new(description: String, points: &[MapPoint]) -> Self {
        let mut points = merge(points);
        points.sort_by_key(|(point, _)| point.mark);
        let reader = points.iter().map(|(point, _)| point).find(|point| point.mark == Mark::Reader);
        let ways = reader.map_or_else(Vec::new, |reader| {
            let others = points.iter().map(|(point, _)| point).filter(|point| point.mark != Mark::Reader);
            others
                .map(|point| Way {
                    path: way(reader.lat, reader.lon, point.lat, point.lon),
                    class: point.mark.class(),
                })
                .collect()
        });
        let labels = place_labels(&points);
        let points = points
            .iter()
            .zip(labels)
            .map(|((point, title), label)| {
                let (x, y) = shown_percent(point);
                PlacedPoint {
                    x: format!("{x:.2}%"),
                    y: format!("{y:.2}%"),
                    class: point.mark.class(),
                    title: title.clone(),
                    label,
                }
            })
            .collect();
        Self { description, ways, points, distance: None }
    }

    /// The same with a text beside the chosen way, where there is one such way and room for the text.
    #[must_use]
    pub fn measured(description: String, points: &[MapPoint], distance: &str) -> Self {
        let mut map = Self::new(description, points);
        let mut points = merge(points);
        points.sort_by_key(|(point, _)| point.mark);
        map.distance = place_distance(&points, &map, distance);
        map
    }
}

/// One point a place, with its title.
fn merge(points: &[MapPoint]) -> Vec<(MapPoint, String)> {
    let mut merged: Vec<(MapPoint, u32)> = Vec::new();
    for point in points.iter().filter(|point| point.lat.is_finite() && point.lon.is_finite()) {
        let same = merged.iter_mut().find(|(other, _)| {
            let one_is_reader = (other.mark == Mark::Reader) || (point.mark == Mark::Reader);
            !one_is_reader
                && other.label == point.label
                && (other.lat - point.lat).abs() < 0.5
                && (other.lon - point.lon).abs() < 0.5
        });
        match same {
            Some((other, count)) => {
                other.mark = other.mark.max(point.mark);
                *count += 1;
            }
            None => merged.push((point.clone(), 1)),
        }
    }
    merged
        .into_iter()
        .map(|(point, count)| {
            let title = if count == 1 { point.label.clone() } else { format!("{} ×{count}", point.label) };
            (point, title)
        })
        .collect()
}

/// Where a point stands on the shown part, in percent of its width and height, far enough
/// from the edge for its dot to be seen.
fn shown_percent(point: &MapPoint) -> (f64, f64) {
    let x = map_x(point.lon) / FIELD_WIDTH * 100.0;
    let y = (map_y(point.lat) - TOP) / SHOWN_HEIGHT * 100.0;
    (x.clamp(1.5, 98.5), y.clamp(3.0, 97.0))
}

/// The shortest way on the globe between two places as an SVG path, in two parts where it leaves the
/// map on one side and comes back on the other. Empty where both are the same.
///
/// Distances are taken on the ellipsoid elsewhere; for a drawing the sphere is exact enough.
fn way(from_lat: f64, from_lon: f64, to_lat: f64, to_lon: f64) -> String {
    if angle_between((from_lat, from_lon), (to_lat, to_lon)) < 1e-6 {
        return String::new();
    }
    let mut path = String::new();
    let mut previous: Option<(f64, f64)> = None;
    for step in 0..=WAY_STEPS {
        let share = f64::from(step) / f64::from(WAY_STEPS);
        let (lat, lon) = on_way((from_lat, from_lon), (to_lat, to_lon), share);
        match previous {
            None => push_point(&mut path, 'M', lat, lon),
            Some((before_lat, before_lon)) if (lon - before_lon).abs() > 180.0 => {
                let edge = 180.0_f64.copysign(before_lon);
                let ahead = edge - before_lon;
                let behind = lon + edge;
                let width = ahead.abs() + behind.abs();
                let at =
                    if width > 0.0 { before_lat + (lat - before_lat) * ahead.abs() / width } else { lat };
                push_point(&mut path, 'L', at, edge);
                push_point(&mut path, 'M', at, -edge);
                push_point(&mut path, 'L', lat, lon);
            }
            Some(_) => push_point(&mut path, 'L', lat, lon),
        }
        previous = Some((lat, lon));
    }
    path
}

/// The angle between two places, seen from the middle of the globe.
fn angle_between(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (from, to) = (to_vector(from.0, from.1), to_vector(to.0, to.1));
    let dot: f64 = from.iter().zip(to).map(|(a, b)| a * b).sum();
    dot.clamp(-1.0, 1.0).acos()
}

/// The place after a share of the way, as degrees north and east.
fn on_way(from: (f64, f64), to: (f64, f64), share: f64) -> (f64, f64) {
    let angle = angle_between(from, to);
    if share <= 0.0 {
        from
    } else if share >= 1.0 {
        to
    } else if PI - angle < 1e-6 {
        // Opposite ends of the world: every way is as short; take the straight one of the map.
        (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
    } else {
        let (a, b) = (((1.0 - share) * angle).sin(), (share * angle).sin());
        let (from, to) = (to_vector(from.0, from.1), to_vector(to.0, to.1));
        to_degrees(std::array::from_fn(|axis| from[axis] * a + to[axis] * b))
    }
}

fn push_point(path: &mut String, command: char, lat: f64, lon: f64) {
    // A way over the pole goes along the edge of what is shown, so that it does not end in nothing.
    let y = map_y(lat).clamp(TOP + 4.0, TOP + SHOWN_HEIGHT - 4.0);
    path.push_str(&format!("{command}{:.1} {y:.1}", map_x(lon)));
}

fn to_vector(lat: f64, lon: f64) -> [f64; 3] {
    let (lat, lon) = (lat.to_radians(), lon.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

fn to_degrees([x, y, z]: [f64; 3]) -> (f64, f64) {
    (z.atan2(x.hypot(y)).to_degrees(), y.atan2(x).to_degrees())
}

/// A box on the screen in pixels.
#[derive(Debug, Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn holds(&self, (x, y): (f64, f64)) -> bool {
        (self.left..self.right).contains(&x) && (self.top..self.bottom).contains(&y)
    }

    fn is_within(&self, other: &Self) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}

/// Widths in pixels that a map has, from the smallest phone to the widest page. A name is placed only
/// where it covers nothing at any of them.
const WIDTHS: [f64; 7] = [286.0, 340.0, 420.0, 520.0, 640.0, 760.0, 896.0];

/// Screens for which names are placed, each with the class of what it shows and smaller ones hide.
const SCREENS: [(&[f64], &str); 2] = [(&WIDTHS, ""), (WIDTHS.split_at(4).1, "wide")];

/// Room of one letter and of a line, generous for wide fonts.
const LETTER_WIDTH: f64 = 7.0;
const LINE_HEIGHT: f64 = 13.0;
/// Half the size of a dot with its ring.
const DOT: f64 = 7.0;

/// The four sides a name can stand on, in order of preference: anchor, dx, dy of the base line.
const SIDES: [(&str, i32, i32); 4] =
    [("start", 10, 4), ("end", -10, 4), ("middle", 0, -11), ("middle", 0, 20)];

/// Gives each point's name a side where it covers nothing, first as on a small screen, the rest as on
/// a wide one. A name without room is left out: the list beside the map has it.
fn place_labels(points: &[(MapPoint, String)]) -> Vec<Option<Label>> {
    let mut labels: Vec<Option<Label>> = vec![None; points.len()];
    for (widths, class) in SCREENS {
        // The most important first: points are sorted with the reader last.
        for index in (0..points.len()).rev() {
            if labels[index].is_none() {
                labels[index] = SIDES.into_iter().find_map(|(anchor, dx, dy)| {
                    let text = cut(&points[index].1);
                    let label = Label { text, anchor, dx, dy, class };
                    let own = shown_percent(&points[index].0);
                    let fits = widths.iter().all(|width| {
                        is_free(label.area(on_screen(own, *width)), Some(index), points, &labels, *width)
                    });
                    fits.then_some(label)
                });
            }
        }
    }
    labels
}

/// Shares of the way at which its length may stand, and the sides, in order of preference.
const WAY_SHARES: [f64; 5] = [0.5, 0.4, 0.6, 0.3, 0.7];
const WAY_SIDES: [(&str, i32, i32); 8] = [
    ("middle", 0, -8),
    ("middle", 0, 18),
    ("start", 10, 4),
    ("end", -10, 4),
    ("start", 8, -6),
    ("end", -8, -6),
    ("start", 8, 16),
    ("end", -8, 16),
];

/// Puts the length of the one chosen way beside it, where that covers nothing, no way either.
fn place_distance(points: &[(MapPoint, String)], map: &WorldMap, text: &str) -> Option<PlacedLabel> {
    let of = |mark: Mark| points.iter().map(|(point, _)| point).filter(move |point| point.mark == mark);
    let reader = of(Mark::Reader).next()?;
    let mut chosen = of(Mark::Chosen);
    let (Some(chosen), None) = (chosen.next(), chosen.next()) else { return None };
    let labels: Vec<Option<Label>> = map.points.iter().map(|point| point.label.clone()).collect();
    let ways: Vec<(f64, f64)> = points
        .iter()
        .filter(|(point, _)| point.mark != Mark::Reader)
        .flat_map(|(point, _)| {
            (0..=WAY_STEPS).map(|step| {
                let share = f64::from(step) / f64::from(WAY_STEPS);
                let (lat, lon) = on_way((reader.lat, reader.lon), (point.lat, point.lon), share);
                shown_percent(&MapPoint { lat, lon, ..point.clone() })
            })
        })
        .collect();
    SCREENS.into_iter().find_map(|(widths, class)| {
        WAY_SHARES.into_iter().find_map(|share| {
            let (lat, lon) = on_way((reader.lat, reader.lon), (chosen.lat, chosen.lon), share);
            let at = shown_percent(&MapPoint { lat, lon, ..reader.clone() });
            WAY_SIDES.into_iter().find_map(|(anchor, dx, dy)| {
                let label = Label { text: text.to_owned(), anchor, dx, dy, class };
                let fits = widths.iter().all(|width| {
                    let area = label.area(on_screen(at, *width));
                    let crosses = ways.iter().any(|step| area.holds(on_screen(*step, *width)));
                    !crosses && is_free(area, None, points, &labels, *width)
                });
                fits.then(|| PlacedLabel { x: format!("{:.2}%", at.0), y: format!("{:.2}%", at.1), label })
            })
        })
    })
}

/// A place in percent as pixels on a map of this width.
fn on_screen((x, y): (f64, f64), width: f64) -> (f64, f64) {
    (x / 100.0 * width, y / 100.0 * width * SHOWN_HEIGHT / FIELD_WIDTH)
}

/// Whether a text stays on a map of this width and covers no point or name but its own.
fn is_free(
    area: Area,
    own: Option<usize>,
    points: &[(MapPoint, String)],
    labels: &[Option<Label>],
    width: f64,
) -> bool {
    let height = width * SHOWN_HEIGHT / FIELD_WIDTH;
    let at = |index: usize| on_screen(shown_percent(&points[index].0), width);
    let map = Area { left: 2.0, top: 2.0, right: width - 2.0, bottom: height - 2.0 };
    let others = (0..points.len()).filter(|other| Some(*other) != own);
    area.is_within(&map)
        && others.into_iter().all(|other| {
            let (x, y) = at(other);
            let dot = Area { left: x - DOT, top: y - DOT, right: x + DOT, bottom: y + DOT };
            let name = labels[other].as_ref().map(|label| label.area((x, y)));
            !area.meets(&dot) && !name.is_some_and(|name| area.meets(&name))
        })
}

impl Label {
    /// The room that the text takes beside a point.
    fn area(&self, (x, y): (f64, f64)) -> Area {
        // Letters outside Latin scripts may be twice as wide.
        let letters: f64 = self.text.chars().map(|c| if c < '\u{1100}' { 1.0 } else { 2.0 }).sum();
        let width = letters * LETTER_WIDTH;
        let x = x + f64::from(self.dx);
        let left = match self.anchor {
            "end" => x - width,
            "middle" => x - width / 2.0,
            _ => x,
        };
        let bottom = y + f64::from(self.dy) + 3.0;
        Area { left, top: bottom - LINE_HEIGHT, right: left + width, bottom }
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LABEL_CHARS {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LABEL_CHARS - 1).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn point(label: &str, lat: f64, lon: f64, mark: Mark) -> MapPoint {
        MapPoint { label: label.to_owned(), lat, lon, mark }
    }

    fn coordinates(path: &str) -> Vec<(char, f64, f64)> {
        let mut found = Vec::new();
        for part in path.split_inclusive(['M', 'L']).collect::<Vec<_>>().windows(2) {
            let command = part[0].chars().last().unwrap();
            let (x, y) = part[1].trim_end_matches(['M', 'L']).split_once(' ').unwrap();
            found.push((command, x.parse().unwrap(), y.parse().unwrap()));
        }
        found
    }

    #[test]
    fn corners_and_middle_of_the_projection() {
        assert_eq!((map_x(-180.0), map_y(90.0)), (0.0, 0.0));
        assert_eq!((map_x(0.0), map_y(0.0)), (500.0, 250.0));
        assert_eq!((map_x(180.0), map_y(-90.0)), (1000.0, 500.0));
    }

    #[test]
    fn a_way_bends_towards_the_pole() {
        let drawn = coordinates(&way(43.7, -79.4, 52.4, 4.9));
        assert_eq!(drawn.len(), WAY_STEPS as usize + 1);
        let highest = drawn.iter().map(|(_, _, y)| *y).fold(f64::MAX, f64::min);
        assert!(highest < map_y(52.4), "the great circle from Toronto to Amsterdam passes north of both");
    }

    #[test]
    fn a_way_over_the_pacific_leaves_on_one_side_and_comes_back_on_the_other() {
        for (from, to) in [((-33.9, 151.2), (37.8, -122.4)), ((37.8, -122.4), (-33.9, 151.2))] {
            let drawn = coordinates(&way(from.0, from.1, to.0, to.1));
            let starts = drawn.iter().filter(|(command, ..)| *command == 'M').count();
            assert_eq!(starts, 2);
            for pair in drawn.windows(2) {
                assert!(pair[1].0 == 'M' || (pair[1].1 - pair[0].1).abs() < 100.0, "no line across the map");
            }
            assert!(drawn.iter().all(|(_, x, _)| (0.0..=1000.0).contains(x)));
        }
    }

    #[test]
    fn ways_without_length_or_direction_are_harmless() {
        assert_eq!(way(1.0, 2.0, 1.0, 2.0), "");
        for path in [way(0.0, 0.0, 0.0, 180.0), way(90.0, 0.0, -90.0, 0.0), way(89.0, 0.0, 89.0, 180.0)] {
            assert!(!path.is_empty() && !path.contains("NaN"), "{path}");
        }
    }

    #[test]
    fn servers_at_one_place_share_a_point_that_shows_the_best_of_them() {
        let map = WorldMap::new(
            String::new(),
            &[point("Toronto", 43.7, -79.4, Mark::Down), point("Toronto", 43.7, -79.4, Mark::Server)],
        );
        assert_eq!(map.points.len(), 1);
        assert_eq!((map.points[0].title.as_str(), map.points[0].class), ("Toronto ×2", "server"));
    }

    #[test]
    fn names_cover_neither_each_other_nor_points() {
        let crowd = [
            point("Amsterdam", 52.4, 4.9, Mark::Server),
            point("London", 51.5, -0.1, Mark::Server),
            point("Berlin", 52.5, 13.4, Mark::Chosen),
            point("Frankfurt", 50.1, 8.7, Mark::Down),
            point("Sydney", -33.9, 151.2, Mark::Server),
            point("Suva", -18.1, 178.4, Mark::Server),
            point("You", 48.9, 2.4, Mark::Reader),
        ];
        let map = WorldMap::new(String::new(), &crowd);
        assert_eq!(map.points.last().map(|point| point.class), Some("reader"));
        for (width, shows_wide) in WIDTHS.into_iter().zip([false, false, false, false, true, true, true]) {
            let height = width * SHOWN_HEIGHT / FIELD_WIDTH;
            let share = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap() / 100.0;
            let shown: Vec<Area> = map
                .points
                .iter()
                .filter_map(|point| {
                    let label = point.label.as_ref().filter(|label| shows_wide || label.class.is_empty())?;
                    Some(label.area((share(&point.x) * width, share(&point.y) * height)))
                })
                .collect();
            assert!(shown.len() >= 3);
            for (index, area) in shown.iter().enumerate() {
                assert!(shown[index + 1..].iter().all(|other| !area.meets(other)), "{width}");
            }
        }
    }

    #[test]
    fn the_chosen_way_says_how_long_it_is_where_there_is_room() {
        let measured = |points: &[MapPoint]| WorldMap::measured(String::new(), points, "6,060 km").distance;
        let reader = point("You", 40.7, -74.0, Mark::Reader);
        let far = point("Amsterdam", 52.4, 4.9, Mark::Chosen);
        let placed = measured(&[far.clone(), reader.clone()]).unwrap();
        assert_eq!((placed.label.text.as_str(), placed.label.class), ("6,060 km", ""));
        let x: f64 = placed.x.trim_end_matches('%').parse().unwrap();
        assert!((29.5..51.4).contains(&x), "between both: {x}");
        // Two chosen ways, or none, or no reader: no length.
        let other = point("Lisbon", 38.7, -9.1, Mark::Chosen);
        assert_eq!(measured(&[far.clone(), other, reader.clone()]), None);
        assert_eq!(measured(&[reader]), None);
        assert_eq!(measured(&[far]), None);
        // Where both are near, their names leave no room between them.
        let near = [
            point("Toronto", 43.7, -79.4, Mark::Chosen),
            point("Amsterdam", 52.4, 4.9, Mark::Server),
            point("You", 40.7, -74.0, Mark::Reader),
        ];
        let map = WorldMap::measured(String::new(), &near, "550 km");
        let share = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
        for width in WIDTHS.into_iter().skip(4) {
            let Some(placed) = &map.distance else { continue };
            let area = placed.label.area(on_screen((share(&placed.x), share(&placed.y)), width));
            for point in &map.points {
                let at = on_screen((share(&point.x), share(&point.y)), width);
                let covers = point.label.as_ref().is_some_and(|label| label.area(at).meets(&area));
                assert!(!covers, "{width}: {} is covered", point.title);
            }
        }
    }

    #[test]
    fn points_beyond_the_map_stand_at_its_edge_and_nonsense_is_left_out() {
        let map = WorldMap::new(
            String::new(),
            &[point("South Pole", -90.0, 0.0, Mark::Server), point("Nowhere", f64::NAN, 0.0, Mark::Server)],
        );
        assert_eq!(map.points.len(), 1);
        assert_eq!(map.points[0].y, "97.00%");
    }

    #[test]
    fn long_names_are_cut_on_the_map_only() {
        let name = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch";
        let map = WorldMap::new(String::new(), &[point(name, 20.0, -40.0, Mark::Server)]);
        assert_eq!(map.points[0].title, name);
        assert!(map.points[0].label.as_ref().unwrap().text.ends_with('…'));
    }
}
