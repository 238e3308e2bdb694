//! Bars in groups, as SVG.

use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 420);
const COLOURS: [RGBColor; 6] = [
    RGBColor(190, 190, 190),
    RGBColor(31, 119, 180),
    RGBColor(140, 140, 140),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
];

/// A chart of groups of bars that have the same names in each group.
pub(super) fn bars(groups: &[(usize, Vec<(&'static str, f64)>)]) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area, groups).expect("a chart into memory");
    }
    svg
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn draw(area: &Area<'_>, groups: &[(usize, Vec<(&'static str, f64)>)]) -> Outcome {
    area.fill(&WHITE)?;
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, rate)| *rate);
    let most = most.fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(
            "calls per second, Vault on the same machine",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..most)?;
    let callers = |x: &f64| {
        let group = groups.get(*x as usize);
        group.map_or_else(String::new, |(callers, _)| format!("{callers} callers"))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(groups.len())
        .x_label_formatter(&callers)
        .x_label_style(("sans-serif", 13))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    let names = groups.first().map_or(0, |(_, bars)| bars.len());
    let width = 0.86 / names.max(1) as f64;
    for index in 0..names {
        let colour = COLOURS[index % COLOURS.len()];
        let boxes = groups.iter().enumerate().filter_map(|(group, (_, bars))| {
            let rate = bars.get(index)?.1;
            let left = group as f64 + 0.07 + index as f64 * width;
            Some(Rectangle::new(
                [(left, 0.0), (left + width * 0.9, rate)],
                colour.filled(),
            ))
        });
        let name = groups[0].1[index].0;
        chart
            .draw_series(boxes)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
